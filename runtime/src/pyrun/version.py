VERSION = "0.1.0"
# what is built in, in crun's words, for those who look for them there
FEATURES = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU"
