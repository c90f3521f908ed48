/*
 * Exec wrapper: the program that AWS_LAMBDA_EXEC_WRAPPER=/opt/logferry-wrap puts before the runtime.
 *
 * It adds the hooks of LOGFERRY_CALLS to the environment and replaces itself by the runtime.
 *
 * Guarantees:
 * - Unless LOGFERRY_CALLS is `summary` or `each`, the runtime gets its arguments and its environment unchanged. Only
 *   LOGFERRY_NEXT_WRAPPER is removed, because a wrapper that names itself there would never end.
 * - NODE_OPTIONS keeps the options of the function, followed by `--require HOOK`. PYTHONPATH is the folder of the hook,
 *   or this folder, a colon and the old value. The hook restores the old value from that.
 * - A hook that is missing, a path that is too long, or an environment that becomes too large is left out, and the
 *   runtime starts without it.
 * - A program that cannot be executed is reported in one message, with status 127 if it is missing and else 126.
 *
 * Design: the wrapper finds the hooks next to itself, so it also works outside /opt. A program without a slash is
 * searched on PATH, as a shell does: the ENTRYPOINT of a container image may name it so. See `system_calls.h` for the
 * absence of a C library.
 *
 * References: AWS Lambda Developer Guide, "Modifying the runtime environment", wrapper scripts; Node.js documentation,
 * `NODE_OPTIONS` (quotes and escapes).
 */

#include "system_calls.h"

#define NODE_HOOK "/logferry/hooks/node.cjs"
#define PYTHON_HOOK "/logferry/hooks/python"
#define NEXT_WRAPPER "LOGFERRY_NEXT_WRAPPER="
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

enum { AT_FDCWD = -100, READABLE = 4, LONGEST_PATH = 4096 };
enum { NO_ENTRY = -2, TOO_BIG = -7, NOT_A_PROGRAM = -8, NO_ACCESS = -13, NOT_A_FOLDER = -20 };

/* Copy a text without its end to `to`, and return the place after the copy. */
static char *append(char *to, const char *text) {
    while (*text) *to++ = *text++;
    return to;
}

/* Return the value of a variable, which is named with its `=`, or 0. */
static const char *value_of(char *const *environment, const char *name) {
    for (; *environment; environment++) {
        if (begins(*environment, name)) return *environment + length_of(name);
    }
    return 0;
}

/* Return whether a value is `word`, with blanks around it and in any case, as the parser of the settings reads it. */
static int is_word(const char *value, const char *word) {
    while (*value == ' ' || (*value >= '\t' && *value <= '\r')) value++;
    for (; *word; word++, value++) {
        char lower = *value >= 'A' && *value <= 'Z' ? *value + ('a' - 'A') : *value;
        if (lower != *word) return 0;
    }
    while (*value == ' ' || (*value >= '\t' && *value <= '\r')) value++;
    return !*value;
}

static int hooks_are_wanted(char *const *environment) {
    const char *mode = value_of(environment, "LOGFERRY_CALLS=");
    return mode && (is_word(mode, "summary") || is_word(mode, "each"));
}

/* Write the folder of this program to `folder`; return its length, or 0 if it is unknown or too long. */
static long own_folder(char *folder) {
    long length = system_call(SYS_READLINKAT, AT_FDCWD, (long)"/proc/self/exe", (long)folder, LONGEST_PATH);
    if (length <= 0 || length >= LONGEST_PATH) return 0;
    while (length > 0 && folder[length - 1] != '/') length--;
    return length > 0 ? length - 1 : 0;
}

/* Write the path of a hook to `path`; return whether this process may read it. */
static int find_hook(char *path, const char *folder, long length, const char *hook) {
    for (long i = 0; i < length; i++) path[i] = folder[i];
    *append(path + length, hook) = 0;
    return system_call(SYS_FACCESSAT, AT_FDCWD, (long)path, READABLE, 0) == 0;
}

/* Append a path as one word of NODE_OPTIONS: in quotes if it contains a blank, a quote or a backslash. */
static char *append_quoted(char *to, const char *path) {
    int quotes = 0;
    for (const char *c = path; *c; c++) quotes |= *c == ' ' || *c == '"' || *c == '\\';
    if (!quotes) return append(to, path);
    *to++ = '"';
    for (; *path; path++) {
        if (*path == '"' || *path == '\\') *to++ = '\\';
        *to++ = *path;
    }
    *to++ = '"';
    return to;
}

/* Write `NODE_OPTIONS=OLD --require HOOK`. */
static void write_node_options(char *to, const char *old, const char *hook) {
    to = append(to, "NODE_OPTIONS=");
    if (old && *old) to = append(append(to, old), " ");
    *append_quoted(append(to, "--require "), hook) = 0;
}

/* Write `PYTHONPATH=HOOK`, or `PYTHONPATH=HOOK:OLD` if the variable exists. */
static void write_python_path(char *to, const char *old, const char *hook) {
    to = append(append(to, "PYTHONPATH="), hook);
    if (old) to = append(append(to, ":"), old);
    *to = 0;
}

/* Replace the first entry of a variable, which is named with its `=`, or add it; return the number of entries. */
static long put(char **environment, long count, const char *name, char *entry) {
    long place = 0;
    while (place < count && !begins(environment[place], name)) place++;
    environment[place] = entry;
    return place == count ? count + 1 : count;
}

/* Execute a program, with a search on PATH if it has no slash. Returns only the error, a negative number. */
static long execute(const char *program, char **arguments, char **environment) {
    for (const char *c = program; *c; c++) {
        if (*c == '/') return system_call(SYS_EXECVE, (long)program, (long)arguments, (long)environment, 0);
    }
    const char *path = value_of(environment, "PATH=");
    if (!path) path = DEFAULT_PATH;
    char candidate[length_of(path) + length_of(program) + 3];
    long error = NO_ENTRY;
    for (;;) {
        char *end = candidate;
        while (*path && *path != ':') *end++ = *path++;
        if (end == candidate) *end++ = '.';
        *end++ = '/';
        *append(end, program) = 0;
        long result = system_call(SYS_EXECVE, (long)candidate, (long)arguments, (long)environment, 0);
        /* 1. Not in this folder: the next one. 2. Not permitted: remembered. 3. Any other error: final. */
        if (result == NO_ACCESS) error = NO_ACCESS;
        else if (result != NO_ENTRY && result != NOT_A_FOLDER) return result;
        if (!*path++) return error;
    }
}

static const char *reason_of(long error) {
    switch (error) {
    case NO_ENTRY: return "the file or its interpreter does not exist";
    case NO_ACCESS: return "it is not an executable file";
    case NOT_A_PROGRAM: return "it is neither a script that begins with #! nor a program for this architecture";
    case TOO_BIG: return "its arguments and environment are too large";
    default: return "the kernel rejects it";
    }
}

__attribute__((noreturn)) static void fail(const char *program, const char *source, const char *remedy, long error) {
    const char *reason = reason_of(error);
    char text[length_of(program) + length_of(source) + length_of(reason) + length_of(remedy) + 64];
    char *end = append(append(text, "logferry-wrap: cannot execute "), program);
    end = append(append(append(end, source), ": "), reason);
    *append(append(append(end, "; "), remedy), "\n") = 0;
    write_message(text);
    exit_with(error == NO_ENTRY ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

void start(long *stack) {
    long argument_count = stack[0];
    char **arguments = (char **)(stack + 1);
    char **inherited = arguments + argument_count + 1;
    if (argument_count < 2) {
        write_message("logferry-wrap: no program to execute; set AWS_LAMBDA_EXEC_WRAPPER=/opt/logferry-wrap for a "
                      "managed runtime, or add the command of the runtime after it in ENTRYPOINT\n");
        exit_with(EXIT_NOT_FOUND);
    }

    long inherited_count = 0, count = 0;
    while (inherited[inherited_count]) inherited_count++;
    char *environment[inherited_count + 3], *plain[inherited_count + 1];
    for (char **entry = inherited; *entry; entry++) {
        if (begins(*entry, NEXT_WRAPPER)) continue;
        plain[count] = environment[count] = *entry;
        count++;
    }
    plain[count] = environment[count] = 0;

    char folder[LONGEST_PATH];
    char node_hook[LONGEST_PATH + sizeof(NODE_HOOK)], python_hook[LONGEST_PATH + sizeof(PYTHON_HOOK)];
    long folder_length = hooks_are_wanted(inherited) ? own_folder(folder) : 0;
    int has_node_hook = folder_length && find_hook(node_hook, folder, folder_length, NODE_HOOK);
    int has_python_hook = folder_length && find_hook(python_hook, folder, folder_length, PYTHON_HOOK);
    const char *options = value_of(plain, "NODE_OPTIONS="), *modules = value_of(plain, "PYTHONPATH=");
    /* 32: the name of the variable, `--require`, blanks, quotes and the end */
    char node_entry[has_node_hook ? 2 * length_of(node_hook) + (options ? length_of(options) : 0) + 32 : 1];
    char python_entry[has_python_hook ? length_of(python_hook) + (modules ? length_of(modules) : 0) + 32 : 1];
    if (has_node_hook) {
        write_node_options(node_entry, options, node_hook);
        count = put(environment, count, "NODE_OPTIONS=", node_entry);
    }
    if (has_python_hook) {
        write_python_path(python_entry, modules, python_hook);
        count = put(environment, count, "PYTHONPATH=", python_entry);
    }
    environment[count] = 0;

    const char *next = value_of(inherited, NEXT_WRAPPER);
    if (next && *next) arguments[0] = (char *)next;
    else arguments++;
    long error = execute(arguments[0], arguments, environment);
    if (error == TOO_BIG) error = execute(arguments[0], arguments, plain);
    if (next && *next) {
        fail(next, ", the value of LOGFERRY_NEXT_WRAPPER", "correct this variable, or remove it", error);
    }
    fail(arguments[0], ", the command after logferry-wrap",
         "correct the ENTRYPOINT of the image, or remove AWS_LAMBDA_EXEC_WRAPPER", error);
}
