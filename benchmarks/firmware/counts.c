/* A plugin for QEMU 7.2: how often the instruction at each address was executed. One counter a translation block, added to
 * inline, so the emulator is not slowed down. Debian ships no header for plugins; these are the declarations in use.
 * Arguments: out=FILE. The file has lines "address count", both hexadecimal, sorted by nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*f)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, enum qemu_plugin_op op, void *p, uint64_t n);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*f)(qemu_plugin_id_t, void *), void *p);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

typedef struct block {
    struct block *next;
    uint64_t count;
    size_t n;
    uint64_t address[];
} block_t;

static block_t *blocks;
static const char *out_name = "counts.txt";

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    const size_t n = qemu_plugin_tb_n_insns(tb);
    block_t *b = calloc(1, sizeof *b + n * sizeof b->address[0]);
    if (b == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        b->address[i] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i));
    }
    b->n = n;
    b->next = blocks;
    blocks = b;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &b->count, 1);
}

static void ended(qemu_plugin_id_t id, void *p)
{
    (void)id;
    (void)p;
    FILE *f = fopen(out_name, "w");
    if (f == NULL) {
        abort();
    }
    for (const block_t *b = blocks; b != NULL; b = b->next) {
        for (size_t i = 0; b->count != 0u && i < b->n; i++) {
            fprintf(f, "%llx %llx\n", (unsigned long long)b->address[i], (unsigned long long)b->count);
        }
    }
    fclose(f);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            out_name = strdup(argv[i] + 4);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
