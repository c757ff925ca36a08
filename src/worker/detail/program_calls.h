// The system calls of arbitrary programs (Python, Node, Java, Go, Rust, shells) beyond computing and files, for the filter of code
// sandboxes (worker/seccomp.cpp). It is Docker's default profile as an unprivileged container gets it (github.com/moby/profiles,
// seccomp/default.json), less what only administrators, debuggers and attackers call: whatever is not in a list is denied.
#pragma once
#include <seccomp.h>

namespace mayfly::worker {

constexpr int kPrograms[] = {
    // Processes, threads, signals. clone has rules of its own.
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(kill),
    SCMP_SYS(tkill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigsuspend),
    SCMP_SYS(rt_sigtimedwait), SCMP_SYS(pause), SCMP_SYS(alarm), SCMP_SYS(signalfd), SCMP_SYS(signalfd4), SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_send_signal), SCMP_SYS(getpgid), SCMP_SYS(getpgrp), SCMP_SYS(setpgid), SCMP_SYS(getsid), SCMP_SYS(setsid),
    SCMP_SYS(prctl), SCMP_SYS(arch_prctl), SCMP_SYS(set_thread_area), SCMP_SYS(get_thread_area), SCMP_SYS(seccomp), SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(getpriority), SCMP_SYS(setpriority), SCMP_SYS(ioprio_get), SCMP_SYS(ioprio_set),
    SCMP_SYS(sched_setaffinity), SCMP_SYS(sched_getparam), SCMP_SYS(sched_setparam), SCMP_SYS(sched_getscheduler),
    SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_getattr), SCMP_SYS(sched_setattr), SCMP_SYS(sched_get_priority_max),
    SCMP_SYS(sched_get_priority_min), SCMP_SYS(sched_rr_get_interval), SCMP_SYS(futex_waitv),
    // Who am I. Without a capability they only set what already is.
    SCMP_SYS(getresuid), SCMP_SYS(getresgid), SCMP_SYS(getgroups), SCMP_SYS(capget), SCMP_SYS(setuid), SCMP_SYS(setgid),
    SCMP_SYS(setreuid), SCMP_SYS(setregid), SCMP_SYS(setresuid), SCMP_SYS(setresgid), SCMP_SYS(setfsuid), SCMP_SYS(setfsgid),
    // Memory, code included: programs load libraries and compile.
    SCMP_SYS(mmap), SCMP_SYS(mprotect), SCMP_SYS(msync), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(mlockall), SCMP_SYS(munlock),
    SCMP_SYS(munlockall), SCMP_SYS(remap_file_pages), SCMP_SYS(pkey_alloc), SCMP_SYS(pkey_free), SCMP_SYS(pkey_mprotect),
    // Clocks and timers.
    SCMP_SYS(getitimer), SCMP_SYS(setitimer), SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_gettime),
    SCMP_SYS(timer_getoverrun), SCMP_SYS(timer_delete), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    // Waiting.
    SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create), SCMP_SYS(eventfd), SCMP_SYS(inotify_init), SCMP_SYS(inotify_init1),
    SCMP_SYS(inotify_add_watch), SCMP_SYS(inotify_rm_watch),
    // More of files.
    SCMP_SYS(fcntl), SCMP_SYS(ioctl), SCMP_SYS(flock), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(preadv2), SCMP_SYS(pwritev),
    SCMP_SYS(pwritev2),
    SCMP_SYS(splice), SCMP_SYS(tee), SCMP_SYS(vmsplice), SCMP_SYS(readahead), SCMP_SYS(fadvise64), SCMP_SYS(sync), SCMP_SYS(syncfs),
    SCMP_SYS(sync_file_range), SCMP_SYS(openat2), SCMP_SYS(chdir), SCMP_SYS(fchdir), SCMP_SYS(umask), SCMP_SYS(getdents), SCMP_SYS(chmod),
    SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(lchown), SCMP_SYS(fchownat), SCMP_SYS(link),
    SCMP_SYS(linkat), SCMP_SYS(symlink), SCMP_SYS(symlinkat), SCMP_SYS(statfs), SCMP_SYS(fstatfs), SCMP_SYS(utime), SCMP_SYS(utimes),
    SCMP_SYS(utimensat), SCMP_SYS(futimesat), SCMP_SYS(getxattr), SCMP_SYS(lgetxattr), SCMP_SYS(fgetxattr), SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr), SCMP_SYS(listxattr), SCMP_SYS(llistxattr), SCMP_SYS(flistxattr), SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr), SCMP_SYS(fremovexattr), SCMP_SYS(io_setup), SCMP_SYS(io_destroy), SCMP_SYS(io_submit), SCMP_SYS(io_cancel),
    SCMP_SYS(io_getevents), SCMP_SYS(io_pgetevents),
    // Sockets, once made; socket and socketpair have rules of their own.
    SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg),
    // Between its own processes: the IPC namespace holds nobody else.
    SCMP_SYS(shmget), SCMP_SYS(shmat), SCMP_SYS(shmctl), SCMP_SYS(shmdt), SCMP_SYS(semget), SCMP_SYS(semop), SCMP_SYS(semctl),
    SCMP_SYS(semtimedop), SCMP_SYS(msgget), SCMP_SYS(msgsnd), SCMP_SYS(msgrcv), SCMP_SYS(msgctl), SCMP_SYS(mq_open), SCMP_SYS(mq_unlink),
    SCMP_SYS(mq_timedsend), SCMP_SYS(mq_timedreceive), SCMP_SYS(mq_notify), SCMP_SYS(mq_getsetattr),
};

}  // namespace mayfly::worker
