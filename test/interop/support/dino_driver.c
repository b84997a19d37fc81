/*
 * A plugin for Dino 0.4 that drives it without a screen. Requests are lines of fields between tabs on the
 * standard input: a number, a verb, its arguments. Answers and events are JSON objects, one a line, on the
 * standard output. The few symbols of Dino that are needed are declared here.
 *
 * DRIVER_LOG         everything that Dino itself prints goes there
 * DRIVER_JID, DRIVER_PASSWORD, DRIVER_RESOURCE    the account, made on the first start
 * DRIVER_SERVER_PORT the server is at 127.0.0.1 and this port, whatever the domain
 * DRIVER_CA          certificates that are trusted
 */
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <gmodule.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  GTypeInterface parent;
  void (*registered)(void *self, void *app);
  void (*shutdown)(void *self);
} RootInterface;

extern GType dino_plugins_root_interface_get_type(void);
extern void *dino_application_get_stream_interactor(void *app);
extern void *dino_application_get_db(void *app);
extern void *dino_database_get_accounts(void *db);
extern void *dino_stream_interactor_get_accounts(void *interactor);
extern void *dino_stream_interactor_get_module(void *interactor, GType type, GBoxedCopyFunc copy,
                                               GDestroyNotify destroy, void *identity);
extern GType dino_conversation_manager_get_type(void);
extern GType dino_file_manager_get_type(void);
extern GType dino_message_processor_get_type(void);
extern void *dino_conversation_manager_IDENTITY, *dino_file_manager_IDENTITY, *dino_message_processor_IDENTITY;
extern void *dino_conversation_manager_create_conversation(void *self, void *jid, void *account, int *type);
extern void dino_conversation_manager_start_conversation(void *self, void *conversation);
extern void dino_file_manager_is_upload_available(void *self, void *conversation, GAsyncReadyCallback done, void *data);
extern gboolean dino_file_manager_is_upload_available_finish(void *self, GAsyncResult *result);
extern void dino_file_manager_send_file(void *self, GFile *file, void *conversation, GAsyncReadyCallback done, void *data);
extern void dino_file_manager_send_file_finish(void *self, GAsyncResult *result);
extern void dino_file_manager_download_file(void *self, void *transfer, GAsyncReadyCallback done, void *data);
extern void dino_file_manager_download_file_finish(void *self, GAsyncResult *result);
extern void *dino_entities_account_new(void *jid, const char *resource, const char *password, const char *alias);
extern void dino_entities_account_set_enabled(void *account, gboolean enabled);
extern void dino_entities_account_persist(void *account, void *db);
extern void *xmpp_jid_new(const char *text, GError **error);
extern int gee_collection_get_size(void *collection);
extern void *gee_list_get(void *list, int index);

enum { OMEMO = 2, NOT_STARTED = 2 };
static const char *const STATES[] = {"complete", "in progress", "not started", "failed"};

static void *application;
static FILE *out;
static GString *input;
static gboolean accepting = TRUE;
static GList *transfers; /* those that are coming in, latest first */

/* -- telling -- */

static char *quoted(const char *text) {
  GString *json = g_string_new("\"");
  for (const unsigned char *at = (const unsigned char *)(text ? text : ""); *at; at++) {
    if (*at == '"' || *at == '\\') g_string_append_printf(json, "\\%c", *at);
    else if (*at < 0x20) g_string_append_printf(json, "\\u%04x", *at);
    else g_string_append_c(json, (char)*at);
  }
  return g_string_free(g_string_append_c(json, '"'), FALSE);
}

static void tell_event(const char *event, const char *more) {
  fprintf(out, "{\"event\":\"%s\"%s%s}\n", event, more ? "," : "", more ? more : "");
  fflush(out);
}

static void answer(const char *number, const char *error) {
  char *why = error ? quoted(error) : NULL;
  fprintf(out, why ? "{\"id\":%s,\"error\":%s}\n" : "{\"id\":%s}\n", number, why);
  fflush(out);
  g_free(why);
}

/* -- Dino's parts -- */

static void *module(GType type, void *identity) {
  return dino_stream_interactor_get_module(dino_application_get_stream_interactor(application), type,
                                           (GBoxedCopyFunc)g_object_ref, g_object_unref, identity);
}

static void *files(void) { return module(dino_file_manager_get_type(), dino_file_manager_IDENTITY); }

static void *account(void) {
  void *all = dino_stream_interactor_get_accounts(dino_application_get_stream_interactor(application));
  return gee_collection_get_size(all) > 0 ? gee_list_get(all, 0) : NULL;
}

static void *conversation(const char *with) {
  void *own = account();
  void *jid = own ? xmpp_jid_new(with, NULL) : NULL;
  if (!jid) return NULL;
  int chat = 0;
  void *manager = module(dino_conversation_manager_get_type(), dino_conversation_manager_IDENTITY);
  void *made = dino_conversation_manager_create_conversation(manager, jid, own, &chat);
  dino_conversation_manager_start_conversation(manager, made);
  g_object_set(made, "encryption", OMEMO, NULL);
  return made;
}

/* -- transfers -- */

static void tell_transfer(GObject *transfer, const char *event) {
  int state = 0, size = 0, encryption = 0;
  gboolean sent = FALSE;
  char *name = NULL, *path = NULL;
  g_object_get(transfer, "state", &state, "size", &size, "direction", &sent, "file-name", &name, "path", &path,
               "encryption", &encryption, NULL);
  char *file = quoted(name), *stored = quoted(path);
  char *more = g_strdup_printf("\"state\":\"%s\",\"sent\":%s,\"size\":%d,\"encrypted\":%s,\"file\":%s,\"path\":%s",
                               STATES[state & 3], sent ? "true" : "false", size, encryption == OMEMO ? "true" : "false",
                               file, stored);
  tell_event(event, more);
  g_free(more);
  g_free(stored);
  g_free(file);
  g_free(path);
  g_free(name);
}

static void changed(GObject *transfer, GParamSpec *property, void *data) { tell_transfer(transfer, "transfer"); }

static void downloaded(GObject *manager, GAsyncResult *result, void *transfer) {
  dino_file_manager_download_file_finish(manager, result);
}

static gboolean download(void *transfer) {
  int state = 0;
  g_object_get(transfer, "state", &state, NULL);
  /* What Dino takes by itself has begun by now; the rest is what a person clicks on. */
  if (accepting && state == NOT_STARTED) dino_file_manager_download_file(files(), transfer, downloaded, transfer);
  return G_SOURCE_REMOVE;
}

static void on_file(void *manager, GObject *transfer, void *in, void *data) {
  gboolean sent = FALSE;
  g_object_get(transfer, "direction", &sent, NULL);
  tell_transfer(g_object_ref(transfer), "file");
  g_signal_connect(transfer, "notify::state", G_CALLBACK(changed), NULL);
  if (sent) return;
  transfers = g_list_prepend(transfers, transfer);
  g_timeout_add(200, download, transfer);
}

typedef struct {
  void *with;
  char *path;
  char *file;
} Sending;

static void sent(GObject *manager, GAsyncResult *result, void *data) {
  Sending *sending = data;
  dino_file_manager_send_file_finish(manager, result);
  char *file = quoted(sending->file);
  char *more = g_strdup_printf("\"file\":%s", file);
  tell_event("sent", more);
  g_free(more);
  g_free(file);
}

static gboolean ask(void *data);

/* A person can click only once Dino knows a resource that takes files. */
static void available(GObject *manager, GAsyncResult *result, void *data) {
  Sending *sending = data;
  if (dino_file_manager_is_upload_available_finish(manager, result))
    dino_file_manager_send_file(manager, g_file_new_for_path(sending->path), sending->with, sent, sending);
  else
    g_timeout_add(100, ask, sending);
}

static gboolean ask(void *data) {
  dino_file_manager_is_upload_available(files(), ((Sending *)data)->with, available, data);
  return G_SOURCE_REMOVE;
}

/* -- requests -- */

static void perform(char **words) {
  const char *number = words[0], *verb = words[1];
  int count = g_strv_length(words);
  if (!strcmp(verb, "send") && count == 4) {
    void *with = conversation(words[3]);
    if (!with) return answer(number, "no such conversation");
    Sending *sending = g_new0(Sending, 1);
    sending->with = with;
    sending->path = g_strdup(words[2]);
    sending->file = g_path_get_basename(words[2]);
    ask(sending);
    answer(number, NULL);
  } else if (!strcmp(verb, "answer") && count == 3) {
    accepting = !strcmp(words[2], "accept");
    answer(number, NULL);
  } else if (!strcmp(verb, "cancel")) {
    for (GList *at = transfers; at; at = at->next) {
      int state = 0;
      GCancellable *cancellable = NULL;
      g_object_get(at->data, "state", &state, "cancellable", &cancellable, NULL);
      if (state != 1) continue;
      g_cancellable_cancel(cancellable);
      return answer(number, NULL);
    }
    answer(number, "nothing is coming in");
  } else {
    answer(number, "unknown request");
  }
}

static gboolean on_input(int fd, GIOCondition condition, void *data) {
  char buffer[4096];
  ssize_t got = read(fd, buffer, sizeof buffer);
  if (got <= 0) {
    if (got == 0) g_application_quit(G_APPLICATION(application));
    return got < 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
  }
  g_string_append_len(input, buffer, got);
  for (char *end; (end = strchr(input->str, '\n'));) {
    char *line = g_strndup(input->str, end - input->str);
    g_string_erase(input, 0, end - input->str + 1);
    char **words = g_strsplit(line, "\t", -1);
    if (g_strv_length(words) >= 2) perform(words);
    g_strfreev(words);
    g_free(line);
  }
  return G_SOURCE_CONTINUE;
}

static void on_negotiated(void *interactor, void *of, void *stream, void *data) { tell_event("connected", NULL); }

static void on_message(void *processor, GObject *message, void *in, void *data) {
  char *body = NULL;
  g_object_get(message, "body", &body, NULL);
  char *text = quoted(body);
  char *more = g_strdup_printf("\"body\":%s", text);
  tell_event("message", more);
  g_free(more);
  g_free(text);
  g_free(body);
}

/* -- where the server is: every name leads to it -- */

typedef struct { GResolver parent; } Nowhere;
typedef struct { GResolverClass parent; } NowhereClass;
G_DEFINE_TYPE(Nowhere, nowhere, G_TYPE_RESOLVER)

static void nowhere_init(Nowhere *self) {}

static void service_async(GResolver *self, const char *name, GCancellable *stop, GAsyncReadyCallback done, void *data) {
  GTask *task = g_task_new(self, stop, done, data);
  if (strstr(name, "_xmpp-client.")) {
    int port = atoi(g_getenv("DRIVER_SERVER_PORT"));
    g_task_return_pointer(task, g_list_append(NULL, g_srv_target_new("127.0.0.1", port, 0, 0)), NULL);
  } else {
    g_task_return_new_error(task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "no such service");
  }
  g_object_unref(task);
}

static GList *service_finish(GResolver *self, GAsyncResult *result, GError **error) {
  return g_task_propagate_pointer(G_TASK(result), error);
}

static void name_async(GResolver *self, const char *name, GCancellable *stop, GAsyncReadyCallback done, void *data) {
  GTask *task = g_task_new(self, stop, done, data);
  g_task_return_pointer(task, g_list_append(NULL, g_inet_address_new_from_string("127.0.0.1")), NULL);
  g_object_unref(task);
}

static void name_flags_async(GResolver *self, const char *name, GResolverNameLookupFlags flags, GCancellable *stop,
                             GAsyncReadyCallback done, void *data) {
  name_async(self, name, stop, done, data);
}

static void nowhere_class_init(NowhereClass *class) {
  class->parent.lookup_service_async = service_async;
  class->parent.lookup_service_finish = service_finish;
  class->parent.lookup_by_name_async = name_async;
  class->parent.lookup_by_name_finish = service_finish;
  class->parent.lookup_by_name_with_flags_async = name_flags_async;
  class->parent.lookup_by_name_with_flags_finish = service_finish;
}

/* -- the plugin -- */

static void registered(void *self, void *app) {
  application = app;
  int log = open(g_getenv("DRIVER_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  out = fdopen(dup(1), "w");
  dup2(log, 1);
  dup2(log, 2);
  input = g_string_new("");

  g_resolver_set_default(g_object_new(nowhere_get_type(), NULL));
  GTlsDatabase *trusted = g_tls_file_database_new(g_getenv("DRIVER_CA"), NULL);
  g_tls_backend_set_default_database(g_tls_backend_get_default(), trusted);

  void *db = dino_application_get_db(app);
  if (gee_collection_get_size(dino_database_get_accounts(db)) == 0) {
    void *own = dino_entities_account_new(xmpp_jid_new(g_getenv("DRIVER_JID"), NULL), g_getenv("DRIVER_RESOURCE"),
                                          g_getenv("DRIVER_PASSWORD"), NULL);
    dino_entities_account_set_enabled(own, TRUE);
    dino_entities_account_persist(own, db);
  }

  g_unix_fd_add(0, G_IO_IN | G_IO_HUP, on_input, NULL);
  g_signal_connect(files(), "received-file", G_CALLBACK(on_file), NULL);
  void *processor = module(dino_message_processor_get_type(), dino_message_processor_IDENTITY);
  g_signal_connect(processor, "message-received", G_CALLBACK(on_message), NULL);
  void *interactor = dino_application_get_stream_interactor(app);
  g_signal_connect(interactor, "stream-negotiated", G_CALLBACK(on_negotiated), NULL);
  tell_event("ready", NULL);
}

static void shut_down(void *self) {}

static void root_init(RootInterface *root, void *data) {
  root->registered = registered;
  root->shutdown = shut_down;
}

GType register_plugin(GModule *plugin) {
  static GType type;
  if (type == 0) {
    GTypeInfo info = {.class_size = sizeof(GObjectClass), .instance_size = sizeof(GObject)};
    GInterfaceInfo root = {.interface_init = (GInterfaceInitFunc)root_init};
    type = g_type_register_static(G_TYPE_OBJECT, "TestDriver", &info, 0);
    g_type_add_interface_static(type, dino_plugins_root_interface_get_type(), &root);
  }
  return type;
}
