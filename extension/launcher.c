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
 * It uses no C library, see `system_calls.h`.
 */

#include "system_calls.h"

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

static int is_foreign(const char *variable) {
    for (unsigned i = 0; i < COUNT(FOREIGN_PREFIXES); i++) {
        if (begins(variable, FOREIGN_PREFIXES[i])) return 1;
    }
    return 0;
}

void start(long *stack) {
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
    system_call(SYS_EXECVE, (long)PYTHON, (long)arguments, (long)environment, 0);

    write_message("logferry: cannot execute " PYTHON ": the layer is incomplete, or was built for another architecture; "
                  "rebuild it with `logferry layer build`, or remove it from the function\n");
    exit_with(EXIT_NOT_FOUND);
}
