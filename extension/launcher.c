/*
 * Launcher: the program that Lambda executes as /opt/extensions/logferry.
 *
 * It removes the function's variables from the environment and replaces itself by logferry's interpreter.
 *
 * Guarantees:
 * - The launcher allocates no memory and reads no file.
 * - argv[0] is the interpreter's own path, because CPython finds its standard library by it.
 * - A failed exec writes one message to stderr and exits with 127.
 * - Only logferry's processes are affected. The function keeps its environment.
 *
 * Design: an extension inherits every variable that the function's author has set. These variables take effect before
 * the first bytecode of the supervisor. A preloaded library, another libc on LD_LIBRARY_PATH or LD_TRACE_LOADED_OBJECTS
 * ends the interpreter (or the /bin/sh of a script) while it is loaded. OPENSSL_CONF ends it at `import ssl`. An
 * extension that exits fails the function's invocations (Extension.Crash), so the launcher removes all of them.
 *
 * The launcher uses no C library. A static executable without dependencies starts the same in a Debian, an Alpine, a
 * distroless and an empty image, in a fifth of a millisecond. It needs three system calls, so any C compiler for the
 * target builds it without headers, and the result is the same on every machine.
 */

#ifndef PYTHON
#error "name the interpreter, for instance -DPYTHON='\"/opt/logferry/bin/python3.13\"'"
#endif

#define HOME "/opt/logferry"

/* Variables with these prefixes are removed. */
static const char *const FOREIGN_PREFIXES[] = {
    /* the dynamic loader and libc */
    "LD_", "GLIBC_TUNABLES=", "MALLOC_", "LOCPATH=", "GCONV_PATH=", "NLSPATH=", "LC_", "LANG=", "LANGUAGE=",
    "RES_OPTIONS=", "LOCALDOMAIN=", "HOSTALIASES=", "NIS_PATH=", "RESOLV_", "GETCONF_DIR=", "TZ=", "TZDIR=", "TMPDIR=",
    "TMP=", "TEMP=", "HOME=",
    /* Python, OpenSSL, and the libraries that logferry imports */
    "PYTHON", "__PYVENV_LAUNCHER__=", "VIRTUAL_ENV=", "OPENSSL_", "SSL_CERT_", "SSLKEYLOGFILE=", "CTLOG_FILE=",
    "AIOHTTP_", "YARL_", "MULTIDICT_", "FROZENLIST_", "PROPCACHE_", "WRAPT_",
    /* AWS configuration files of the function, which may be unreadable or name profiles that logferry does not have */
    "AWS_PROFILE=", "AWS_DEFAULT_PROFILE=", "AWS_CONFIG_FILE=", "AWS_SHARED_CREDENTIALS_FILE=", "AWS_DATA_PATH=",
    "BOTO_CONFIG=",
    /* two switches without meaning for a client of S3 in one region, but fatal to it if they are misspelt */
    "AWS_STS_REGIONAL_ENDPOINTS=", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT=",
    /* start-up hooks of other runtimes */
    "NODE_", "JAVA_", "_JAVA_OPTIONS=", "JDK_", "DOTNET_", "CORECLR_", "RUBYOPT=", "RUBYLIB=", "GEM_", "BUNDLE_", "PERL5",
    "PERLLIB=", "BASH_ENV=", "ENV=", "GODEBUG=", "GOTRACEBACK=",
};

/* Variables of logferry's processes that replace them. */
static char *const OWN[] = {
    "LC_ALL=C",                /* with -X utf8: the interpreter reads no locale file of the host */
    "TZ=UTC0",                 /* no time zone file of the host */
    ("HOME=" HOME),            /* read-only: it cannot contain an ~/.aws of the function */
    "OPENSSL_CONF=/dev/null",  /* no OpenSSL configuration of the host */
    "SSL_CERT_FILE=/dev/null", /* no CA store of the host, 50 ms to parse: see AWS_CA_BUNDLE */
    "SSL_CERT_DIR=/dev/null",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { STDERR = 2, EXIT_CANNOT_EXECUTE = 127 };

#if defined(__x86_64__)
enum { SYS_WRITE = 1, SYS_EXECVE = 59, SYS_EXIT_GROUP = 231 };
static long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call launch\n");
#elif defined(__aarch64__)
enum { SYS_WRITE = 64, SYS_EXECVE = 221, SYS_EXIT_GROUP = 94 };
static long system_call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n bl launch\n");
#else
#error "Lambda runs on x86_64 and arm64 only"
#endif

static int begins(const char *text, const char *prefix) {
    while (*prefix) {
        if (*text++ != *prefix++) return 0;
    }
    return 1;
}

static int is_foreign(const char *variable) {
    for (unsigned i = 0; i < COUNT(FOREIGN_PREFIXES); i++) {
        if (begins(variable, FOREIGN_PREFIXES[i])) return 1;
    }
    return 0;
}

static void complain(const char *text) {
    long length = 0;
    while (text[length]) length++;
    system_call(SYS_WRITE, STDERR, (long)text, length);
}

/* `stack` holds argc, argv[], NULL, envp[], NULL (System V ABI, "Initial process stack"). */
__attribute__((used, noreturn)) void launch(long *stack) {
    char **inherited = (char **)(stack + 1 + stack[0] + 1);
    long count = 0;
    while (inherited[count]) count++;

    char *environment[count + COUNT(OWN) + 1];
    long kept = 0;
    for (long i = 0; i < count; i++) {
        if (!is_foreign(inherited[i])) environment[kept++] = inherited[i];
    }
    for (unsigned i = 0; i < COUNT(OWN); i++) environment[kept++] = OWN[i];
    environment[kept] = 0;

    /* -I, -S: no PYTHON* variable and no site-packages of the function; -B: /opt is read-only. */
    static char *const arguments[] = {PYTHON, "-I", "-S", "-B", "-X", "utf8", HOME "/main.pyc", HOME "/site", 0};
    system_call(SYS_EXECVE, (long)PYTHON, (long)arguments, (long)environment);

    complain("logferry: cannot execute " PYTHON ": the layer is incomplete, or was built for another architecture; "
             "rebuild it with `logferry layer build`, or remove it from the function\n");
    for (;;) system_call(SYS_EXIT_GROUP, EXIT_CANNOT_EXECUTE, 0, 0);
}
