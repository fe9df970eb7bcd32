"""Names for containers that were given none: an adjective and a scientist."""

from __future__ import annotations

import os

_ADJECTIVES = (
    "able amber bold brave bright brisk calm candid clever cosmic crisp curious daring dazzling "
    "eager earnest easy elated fair fancy fearless fond frosty gentle gifted glad golden graceful "
    "happy hardy hearty honest hopeful humble jolly keen kind lively loyal lucid lucky mellow "
    "merry mighty modest neat nimble noble patient placid plucky polite proud quick quiet quirky "
    "rapid ready serene sharp silent sincere smart snug stoic sunny swift tender thrifty tidy "
    "tranquil upbeat valiant vivid warm wise witty young zealous zesty"
)
ADJECTIVES = _ADJECTIVES.split()
_SURNAMES = (
    "abel archimedes babbage bell bernoulli bohr boltzmann boole born bose cantor carson cauchy "
    "cerf church clarke copernicus curie darwin dijkstra dirac einstein engelbart euclid euler "
    "faraday fermat fermi feynman fourier franklin galileo galois gauss germain goedel goldberg "
    "hamilton hawking heisenberg hertz hilbert hopper hubble huygens hypatia jacobi johnson joule "
    "kepler kilby knuth kovalevskaya lagrange lamarr laplace leibniz liskov lovelace maxwell "
    "mayer meitner mendel mendeleev mirzakhani morse newton nobel noether pascal pasteur pauli "
    "perlman planck poincare ramanujan riemann ritchie rubin sagan shannon tesla thompson turing "
    "volta wiles wilson wozniak wu yalow"
)
SURNAMES = _SURNAMES.split()


def random_name() -> str:
    """One of several thousand; whether it is free is for the caller to find out."""
    number = int.from_bytes(os.urandom(8), "little")
    number, first = divmod(number, len(ADJECTIVES))
    return f"{ADJECTIVES[first]}_{SURNAMES[number % len(SURNAMES)]}"
