/* The webhook client over TLS: a receiver in Python with a certificate that openssl makes for this run. */
#include "client_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    char dir[64];
    char certificate[128];
    char key[128];
    pid_t pid;
    int out;
    int port;
} tls;

/* Answers each POST with how its connection was made, and keeps the connection. */
static const char SERVER[] =
    "import http.server, ssl, sys\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def do_POST(self):\n"
    "        self.rfile.read(int(self.headers['content-length']))\n"
    "        text = (self.connection.version() + (' reused' if self.connection.session_reused else ' full')).encode()\n"
    "        self.send_response(200)\n"
    "        self.send_header('content-length', str(len(text)))\n"
    "        if self.path == '/close':\n"
    "            self.send_header('connection', 'close')\n"
    "        self.end_headers()\n"
    "        self.wfile.write(text)\n"
    "    def log_message(self, *args):\n"
    "        pass\n"
    "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
    "context.load_cert_chain(sys.argv[1], sys.argv[2])\n"
    "if sys.argv[3] == 'old':\n"
    "    context.set_ciphers('ALL:@SECLEVEL=0')\n"
    "    context.minimum_version = ssl.TLSVersion.TLSv1\n"
    "    context.maximum_version = ssl.TLSVersion.TLSv1_1\n"
    "server = http.server.ThreadingHTTPServer(('0.0.0.0', 0), Handler)\n"
    "server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)\n"
    "print(server.server_address[1], flush=True)\n"
    "server.serve_forever()\n";

static pid_t spawn(char *const *argv, int out) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    assert_int_equal(posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void make_certificate(void) {
    char *argv[] = {"openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=hookcast test",
                    "-addext",
                    "subjectAltName=IP:127.0.0.1",
                    "-keyout",
                    tls.key,
                    "-out",
                    tls.certificate,
                    NULL};
    int status;
    waitpid(spawn(argv, -1), &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void start_server(const char *versions) {
    int ends[2];
    char text[16] = "", mode[8];
    assert_int_equal(pipe(ends), 0);
    snprintf(mode, sizeof(mode), "%s", versions);
    char *argv[] = {"/usr/bin/python3", "-c", (char *)(uintptr_t)SERVER, tls.certificate, tls.key, mode, NULL};
    tls.pid = spawn(argv, ends[1]);
    close(ends[1]);
    struct pollfd ready = {ends[0], POLLIN, 0};
    assert_int_equal(poll(&ready, 1, 20000), 1);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    tls.port = (int)strtol(text, NULL, 10);
    tls.out = ends[0];
}

static void stop_server(void) {
    if (tls.pid <= 0) /* the setup failed before; 0 would be this process's whole group */
        return;
    kill(tls.pid, SIGKILL);
    waitpid(tls.pid, NULL, 0);
    close(tls.out);
}

static int setup(void **state) {
    (void)state;
    snprintf(tls.dir, sizeof(tls.dir), "/tmp/hookcast-tls-XXXXXX");
    assert_non_null(mkdtemp(tls.dir));
    snprintf(tls.certificate, sizeof(tls.certificate), "%s/cert.pem", tls.dir);
    snprintf(tls.key, sizeof(tls.key), "%s/key.pem", tls.dir);
    make_certificate();
    start_server("new");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    stop_server();
    unlink(tls.certificate);
    unlink(tls.key);
    return rmdir(tls.dir);
}

static struct answer ask_tls(const char *host, const char *path) {
    char url[128];
    snprintf(url, sizeof(url), "https://%s:%d%s", host, tls.port, path);
    struct answer answer = ask(url, 10000);
    return answer;
}

static void open_tls(const char *ca_file) {
    struct client_settings settings = plain_settings();
    settings.allow_http = false;
    settings.ca_file = ca_file;
    fixture_open_with("127.0.0.0/8,::1/128", settings);
}

static void test_a_trusted_certificate(void **state) {
    (void)state;
    open_tls(tls.certificate);
    struct answer answer = ask_tls("127.0.0.1", "/");
    expect_result("/", &answer, CLIENT_ANSWERED);
    assert_string_equal(answer.body, "TLSv1.3 full");
    answer = ask_tls("127.0.0.1", "/close");
    expect_result("/", &answer, CLIENT_ANSWERED);
    assert_false(answer.new_connection);
    /* A new connection goes on with the session of the last one. */
    answer = ask_tls("127.0.0.1", "/");
    assert_true(answer.new_connection);
    assert_string_equal(answer.body, "TLSv1.3 reused");
    fixture_close();
}

static void test_many_handshakes_at_once(void **state) {
    (void)state;
    static struct answer answers[20];
    char url[128];
    open_tls(tls.certificate);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d/", tls.port);
    for (int i = 0; i < 20; i++)
        begin(url, 15000, &answers[i]);
    wait_for_answers();
    for (int i = 0; i < 20; i++)
        expect_result("/", &answers[i], CLIENT_ANSWERED);
    fixture_close();
}

static void test_certificates_that_are_not_trusted(void **state) {
    (void)state;
    open_tls("");
    struct answer answer = ask_tls("127.0.0.1", "/");
    expect_result("an unknown authority", &answer, CLIENT_TLS);
    assert_non_null(strstr(answer.detail, "self-signed certificate"));
    fixture_close();
    open_tls(tls.certificate);
    answer = ask_tls("127.0.0.2", "/");
    expect_result("another host's certificate", &answer, CLIENT_TLS);
    fixture_close();
}

static void test_old_versions_are_refused(void **state) {
    (void)state;
    stop_server();
    start_server("old");
    open_tls(tls.certificate);
    struct answer answer = ask_tls("127.0.0.1", "/");
    expect_result("TLS 1.1", &answer, CLIENT_TLS);
    fixture_close();
}

static void test_plain_http_is_refused(void **state) {
    (void)state;
    open_tls(tls.certificate);
    struct answer answer = ask("http://127.0.0.1:1/", 1000);
    expect_result("http", &answer, CLIENT_BAD_URL);
    assert_string_equal(answer.detail, "http:// is not allowed here; use https://");
    fixture_close();
}

static void test_a_missing_file_of_authorities(void **state) {
    (void)state;
    struct client_settings settings = plain_settings();
    struct client *client = NULL;
    struct error error;
    settings.ca_file = "/nowhere/ca.pem";
    struct loop *loop = loop_new("test");
    assert_int_equal(client_new(loop, &settings, &client, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "/nowhere/ca.pem"));
    loop_free(&loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_trusted_certificate),
        cmocka_unit_test(test_many_handshakes_at_once),
        cmocka_unit_test(test_certificates_that_are_not_trusted),
        cmocka_unit_test(test_plain_http_is_refused),
        cmocka_unit_test(test_a_missing_file_of_authorities),
        cmocka_unit_test(test_old_versions_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
