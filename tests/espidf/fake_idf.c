/* ESP-IDF's functions as a process of this computer has them: the UART is stdin and stdout, flash is the file that
 * RC_FLASH names, with the partitions of RC_PARTITIONS ("type,subtype,offset,size;..."). RC_PANIC makes the firmware
 * panic when first bytes come: "fault", "twdt" (the task watchdog runs out). What it sets up is told on stderr. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver/uart.h"
#include "driver/usb_serial_jtag.h"
#include "esp_cpu.h"
#include "esp_partition.h"
#include "esp_private/panic_internal.h"
#include "esp_rom_uart.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "xtensa_context.h"

void app_main(void);
void esp_panic_handler(panic_info_t *info);

static void send(const void *data, size_t n)
{
    if (write(1, data, n) != (ssize_t)n) {
        exit(3);
    }
}

void fake_check(esp_err_t error)
{
    if (error != ESP_OK) {
        exit(4);
    }
}

static void panic_as_told(void)
{
    const char *how = getenv("RC_PANIC");
    XtExcFrame frame = {.pc = (long)0x820012abu, .a0 = (long)0x820034cdu, .exccause = 28, .excvaddr = 0x10};
    panic_info_t info = {.exception = PANIC_EXCEPTION_FAULT, .frame = &frame};
    if (how == NULL) {
        return;
    }
    if (strcmp(how, "twdt") == 0) {
        esp_task_wdt_isr_user_handler();
    }
    esp_panic_handler(&info); /* as in ESP-IDF, it is defined in another file: the linker's --wrap finds the call */
}

static int receive(void *to, uint32_t n, TickType_t ticks)
{
    struct pollfd in = {0, POLLIN, 0};
    if (poll(&in, 1, ticks == portMAX_DELAY ? -1 : (int)ticks * 10) == 0) {
        return 0;
    }
    ssize_t got = read(0, to, n);
    if (got <= 0) {
        exit(0); /* the host has gone */
    }
    panic_as_told();
    return (int)got;
}

esp_err_t uart_driver_install(uart_port_t num, int rx, int tx, int queue, QueueHandle_t *handle, int flags)
{
    (void)queue, (void)handle, (void)flags;
    fprintf(stderr, "uart %d rx %d tx %d\n", (int)num, rx, tx);
    return ESP_OK;
}

esp_err_t uart_param_config(uart_port_t num, const uart_config_t *c)
{
    fprintf(stderr, "uart %d baud %d bits %d parity %d stop %d\n", (int)num, c->baud_rate, (int)c->data_bits,
            (int)c->parity, (int)c->stop_bits);
    return ESP_OK;
}

esp_err_t uart_set_pin(uart_port_t num, int tx, int rx, int rts, int cts)
{
    fprintf(stderr, "uart %d pins %d %d %d %d\n", (int)num, tx, rx, rts, cts);
    return ESP_OK;
}

esp_err_t uart_wait_tx_done(uart_port_t num, TickType_t ticks)
{
    (void)num, (void)ticks;
    return ESP_OK;
}

int uart_write_bytes(uart_port_t num, const void *src, size_t size)
{
    (void)num;
    send(src, size);
    return (int)size;
}

int uart_read_bytes(uart_port_t num, void *buf, uint32_t length, TickType_t ticks)
{
    (void)num;
    return receive(buf, length, ticks);
}

esp_err_t uart_get_buffered_data_len(uart_port_t num, size_t *size)
{
    int waiting = 0;
    (void)num;
    *size = ioctl(0, FIONREAD, &waiting) == 0 ? (size_t)waiting : 0u;
    return ESP_OK;
}

esp_err_t usb_serial_jtag_driver_install(usb_serial_jtag_driver_config_t *c)
{
    fprintf(stderr, "usb rx %u tx %u\n", (unsigned)c->rx_buffer_size, (unsigned)c->tx_buffer_size);
    return ESP_OK;
}

int usb_serial_jtag_read_bytes(void *buf, uint32_t length, TickType_t ticks)
{
    return receive(buf, length, ticks);
}

int usb_serial_jtag_write_bytes(const void *src, size_t size, TickType_t ticks)
{
    size_t n = size < 64u ? size : 64u; /* what fits into its buffer at once */
    (void)ticks;
    send(src, n);
    return (int)n;
}

esp_err_t usb_serial_jtag_wait_tx_done(TickType_t ticks)
{
    (void)ticks;
    return ESP_OK;
}

int esp_rom_output_tx_one_char(uint8_t c)
{
    send(&c, 1);
    return 0;
}

/* Wraps after every 64 calls, as the chip's does after 18 s. */
esp_cpu_cycle_count_t esp_cpu_get_cycle_count(void)
{
    static uint32_t count = 0xFC000000u;
    return count += 0x04000000u;
}

esp_reset_reason_t esp_reset_reason(void)
{
    const char *cause = getenv("RC_RESET");
    return cause != NULL ? (esp_reset_reason_t)atoi(cause) : ESP_RST_POWERON;
}

void esp_restart(void)
{
    fprintf(stderr, "restart\n");
    exit(6);
}

esp_err_t esp_task_wdt_init(const esp_task_wdt_config_t *c)
{
    fprintf(stderr, "watchdog %u ms, idle %u, panic %d\n", (unsigned)c->timeout_ms, (unsigned)c->idle_core_mask,
            (int)c->trigger_panic);
    return ESP_OK;
}

esp_err_t esp_task_wdt_add(TaskHandle_t task)
{
    return task == NULL ? ESP_OK : 1;
}

esp_err_t esp_task_wdt_reset(void)
{
    return ESP_OK;
}

UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task)
{
    (void)task;
    return 5000;
}

const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype,
                                                const char *label)
{
    static esp_partition_t found[4];
    static int count;
    const char *text = getenv("RC_PARTITIONS");
    (void)label;
    while (text != NULL && *text != '\0') {
        unsigned t, s, offset, size;
        int length = 0;
        if (sscanf(text, "%u,%u,%u,%u;%n", &t, &s, &offset, &size, &length) < 4 || count == 4) {
            exit(7);
        }
        if (t == (unsigned)type && s == (unsigned)subtype) {
            found[count].address = offset;
            found[count].size = size;
            return &found[count++];
        }
        text += length;
    }
    return NULL;
}

esp_err_t esp_partition_mmap(const esp_partition_t *p, size_t offset, size_t size, esp_partition_mmap_memory_t memory,
                             const void **out, esp_partition_mmap_handle_t *handle)
{
    int file = open(getenv("RC_FLASH"), O_RDONLY);
    size_t within = (p->address + offset) & 0xFFFFu; /* the chip's pages have 64 KiB */
    if (offset > p->size || size > p->size - offset || file < 0 || memory != ESP_PARTITION_MMAP_DATA) {
        return 1;
    }
    uint8_t *start = mmap(NULL, size + within, PROT_READ, MAP_PRIVATE, file, (off_t)(p->address + offset - within));
    if (start == MAP_FAILED) {
        return 1;
    }
    *out = start + within;
    *handle = 1;
    return ESP_OK;
}

int main(void)
{
    app_main();
    return 8; /* the main task must not end */
}
