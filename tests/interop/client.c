/* The C API as a program; the commands stand at the head of kazoo_client.py. It has no recipes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zookeeper/zookeeper.h>

static zhandle_t *handle;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int connected, done, outcome;

static void on_session(zhandle_t *of, int type, int state, const char *path, void *context) {
    if (type != ZOO_SESSION_EVENT) return;
    pthread_mutex_lock(&lock);
    connected = state == ZOO_CONNECTED_STATE;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static void on_event(zhandle_t *of, int type, int state, const char *path, void *context) {
    if (type != ZOO_SESSION_EVENT) printf("event %s\n", path);
}

static void on_done(int rc, const void *data) {
    pthread_mutex_lock(&lock);
    outcome = rc;
    done = 1;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&lock);
}

static int wait_for(int *flag) {
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&lock);
    while (!*flag && !rc) rc = pthread_cond_timedwait(&moved, &lock, &until);
    pthread_mutex_unlock(&lock);
    return rc ? ZOPERATIONTIMEOUT : ZOK;
}

static int by_name(const void *left, const void *right) {
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* The answer to one command: ZooKeeper's code, and what else there is to say. */
static int answer(char **words, char *said, int room) {
    const char *name = words[0], *path = words[1];
    struct ACL_vector *open = &ZOO_OPEN_ACL_UNSAFE;
    struct Stat stat;
    int rc, size = room - 16;

    if (!strcmp(name, "connect")) {
        handle = zookeeper_init(path, on_session, atoi(words[2]), 0, 0, 0);
        return handle ? wait_for(&connected) : ZSYSTEMERROR;
    }
    if (!strcmp(name, "session")) {
        if (!connected) return ZCONNECTIONLOSS;
        snprintf(said, room, " %llx", (unsigned long long)zoo_client_id(handle)->client_id);
        return ZOK;
    }
    if (!strcmp(name, "auth")) {
        done = 0;
        rc = zoo_add_auth(handle, "digest", path, strlen(path), on_done, 0);
        if (rc == ZOK) rc = wait_for(&done);
        return rc == ZOK ? outcome : rc;
    }
    if (!strcmp(name, "create")) {
        int flags = (strchr(words[3], 'e') ? ZOO_EPHEMERAL : 0) | (strchr(words[3], 's') ? ZOO_SEQUENCE : 0);
        said[0] = ' ';
        return zoo_create(handle, path, words[2], strlen(words[2]), strcmp(words[4], "open") ? &ZOO_CREATOR_ALL_ACL : open,
                          flags, said + 1, room - 1);
    }
    if (!strcmp(name, "get")) {
        said[0] = ' ';
        rc = zoo_get(handle, path, 0, said + 1, &size, &stat);
        if (rc == ZOK) snprintf(said + 1 + size, 15, " %d", stat.version);
        return rc;
    }
    if (!strcmp(name, "set")) return zoo_set(handle, path, words[2], strlen(words[2]), atoi(words[3]));
    if (!strcmp(name, "delete")) return zoo_delete(handle, path, -1);
    if (!strcmp(name, "children")) {
        struct String_vector names;
        rc = zoo_get_children(handle, path, 0, &names);
        if (rc != ZOK) return rc;
        qsort(names.data, names.count, sizeof *names.data, by_name);
        for (int i = 0; i < names.count; i++) {
            strncat(said, " ", room - strlen(said) - 1);
            strncat(said, names.data[i], room - strlen(said) - 1);
        }
        deallocate_String_vector(&names);
        return ZOK;
    }
    if (!strcmp(name, "watch")) {
        char data[64];
        size = sizeof data;
        return zoo_wget(handle, path, on_event, 0, data, &size, &stat);
    }
    if (!strcmp(name, "multi") || !strcmp(name, "badmulti")) {
        char one[256], two[256], made[256];
        zoo_op_t operations[3];
        zoo_op_result_t results[3];
        int good = name[0] == 'm';
        snprintf(one, sizeof one, "%s/%s", path, good ? "a" : "c");
        snprintf(two, sizeof two, "%s/%s", path, good ? "b" : "none");
        zoo_create_op_init(&operations[0], one, "one", 3, open, 0, made, sizeof made);
        if (good) {
            zoo_create_op_init(&operations[1], two, "one", 3, open, 0, made, sizeof made);
            zoo_set_op_init(&operations[2], one, "two", 3, -1, &stat);
        } else {
            zoo_delete_op_init(&operations[1], two, -1);
        }
        return zoo_multi(handle, good ? 3 : 2, operations, results);
    }
    if (!strcmp(name, "quit")) return zookeeper_close(handle);
    return ZUNIMPLEMENTED;
}

int main(void) {
    char line[4096], said[4096], *words[8];
    setvbuf(stdout, 0, _IOLBF, 0);
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    while (fgets(line, sizeof line, stdin)) {
        int count = 0, rc;
        for (char *word = strtok(line, " \n"); word && count < 7; word = strtok(0, " \n")) words[count++] = word;
        words[count] = 0;
        memset(said, 0, sizeof said);
        rc = answer(words, said, sizeof said);
        if (rc == ZOK) printf("ok%s\n", said);
        else printf("error %d\n", rc);
        if (!strcmp(words[0], "quit")) return 0;
    }
    return 1;
}
