/* Move money with libxmlrpc-c, signed in by client certificate.
 *
 * usage: atm [URL [FOLDER]]
 *
 * cc -o atm atm.c -lxmlrpc_client -lxmlrpc -lxmlrpc_util
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <xmlrpc-c/base.h>
#include <xmlrpc-c/client.h>
#include <xmlrpc-c/transport.h>

static const char *url = "https://localhost:9000/RPC2";
static const char *folder = "atm-data/clients/demo";

static xmlrpc_env env;
static xmlrpc_client *client;

static void check(const char *what)
{
	if (env.fault_occurred) {
		fprintf(stderr, "%s: %s (%d)\n", what, env.fault_string, env.fault_code);
		exit(1);
	}
}

static const char *in_folder(const char *name)
{
	size_t size = strlen(folder) + 1 + strlen(name) + 1;
	char *path = malloc(size);

	if (path == NULL)
		abort();
	snprintf(path, size, "%s/%s", folder, name);
	return path;
}

static void sign_in(void)
{
	struct xmlrpc_curl_xportparms curl = {
		.ssl_cert = in_folder("client.crt"),
		.sslkey = in_folder("client.key"),
		.cainfo = in_folder("ca.crt"),
	};
	struct xmlrpc_clientparms params = {
		.transport = "curl",
		.transportparmsP = &curl,
		.transportparm_size = XMLRPC_CXPSIZE(cainfo),
	};

	xmlrpc_client_setup_global_const(&env);
	check("set up");
	xmlrpc_client_create(&env, XMLRPC_CLIENT_NO_FLAGS, "atm", "1", &params,
			     XMLRPC_CPSIZE(transportparm_size), &client);
	check("create");
}

/* member returns what answer has under a name. */
static const char *member(xmlrpc_value *answer, const char *name)
{
	xmlrpc_value *value;
	const char *text;

	xmlrpc_struct_find_value(&env, answer, name, &value);
	check(name);
	if (value == NULL) {
		fprintf(stderr, "no %s in the answer\n", name);
		exit(1);
	}
	xmlrpc_read_string(&env, value, &text);
	check(name);
	xmlrpc_DECREF(value);
	return text;
}

static xmlrpc_value *move(const char *method, const char *amount, const char *request_id)
{
	xmlrpc_value *answer;

	xmlrpc_client_call2f(&env, client, url, method, &answer, "(iss)", 100, amount, request_id);
	check(method);
	return answer;
}

static const char *new_request_id(void)
{
	static char id[33];
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		abort();
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(id + 2 * i, 3, "%02x", bytes[i]);
	return id;
}

int main(int argc, char **argv)
{
	xmlrpc_value *answer, *again;
	const char *order;

	if (argc > 1)
		url = argv[1];
	if (argc > 2)
		folder = argv[2];
	xmlrpc_env_init(&env);
	sign_in();

	xmlrpc_client_call2f(&env, client, url, "inquiry", &answer, "(i)", 100);
	check("inquiry");
	printf("balance %s\n", member(answer, "result"));
	xmlrpc_DECREF(answer);

	/* The request id makes it safe to ask again when an answer got lost. */
	order = new_request_id();
	answer = move("deposit", "12.50", order);
	printf("deposited 12.50, balance %s\n", member(answer, "result"));
	again = move("deposit", "12.50", order);
	if (strcmp(member(again, "receipt"), member(answer, "receipt")) == 0)
		puts("asked again, deposited once");
	xmlrpc_DECREF(again);
	xmlrpc_DECREF(answer);

	answer = move("withdraw", "12.50", new_request_id());
	printf("withdrew 12.50, balance %s\n", member(answer, "result"));
	xmlrpc_DECREF(answer);

	/* An operation that is refused answers; it is no fault. */
	answer = move("withdraw", "1000000.00", new_request_id());
	printf("refused: %s\n", member(answer, "reason"));
	xmlrpc_DECREF(answer);

	xmlrpc_client_call2f(&env, client, url, "no_such_method", &answer, "()");
	if (env.fault_occurred)
		printf("fault %d\n", env.fault_code);

	xmlrpc_env_clean(&env);
	xmlrpc_client_destroy(client);
	xmlrpc_client_teardown_global_const();
	return 0;
}
