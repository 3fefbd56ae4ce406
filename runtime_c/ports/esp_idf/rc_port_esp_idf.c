/* Port of ESP-IDF (Xtensa chips): the wire is UART0, or the chip's own USB with RC_WIRE_USB; the cycle counter gives
 * ticks, the task watchdog watches the main task. What a panic does is in rc_esp_panic.c, for programs that want it. */
#include <stdbool.h>
#include <stdint.h>

#include "esp_cpu.h"
#include "esp_rom_uart.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "rc_esp_panic.h"
#include "sdkconfig.h"
#ifdef RC_WIRE_USB
#include "driver/usb_serial_jtag.h"
#else
#include "driver/uart.h"
#endif

#include "recurc/rc_port.h"

#define WIRE_BUFFER  4096u /* of the drivers; a frame has at most RC_WIRE_MAX_ENCODED bytes, about 1 KiB */
#define READ_AT_ONCE 256u
#define WRITE_TICKS  pdMS_TO_TICKS(1000)

void (*rc_esp_panic_end)(void);

static uint8_t received[READ_AT_ONCE];
static uint32_t have, taken;
static bool watched; /* the main task is on the task watchdog's list */
static uint32_t last_count, wraps;

/* --- Wire ------------------------------------------------------------------------------------------------------- */

#ifdef RC_WIRE_USB

static void wire_init(void)
{
    usb_serial_jtag_driver_config_t config = {.tx_buffer_size = WIRE_BUFFER, .rx_buffer_size = WIRE_BUFFER};
    ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&config));
}

static int wire_read(uint8_t *to, uint32_t n, TickType_t ticks)
{
    return usb_serial_jtag_read_bytes(to, n, ticks);
}

/* Bytes that no host fetches within a second are dropped: there is none, and the next one starts with HELLO. */
static void wire_write(const uint8_t *data, uint32_t n)
{
    while (n != 0u) {
        int sent = usb_serial_jtag_write_bytes(data, n, WRITE_TICKS);
        if (sent <= 0) {
            return;
        }
        data += sent;
        n -= (uint32_t)sent;
    }
}

static void wire_flush(void)
{
    (void)usb_serial_jtag_wait_tx_done(WRITE_TICKS);
}

#else

static void wire_init(void)
{
    const uart_config_t config = {.baud_rate = (int)RC_UART_BAUD,
                                  .data_bits = UART_DATA_8_BITS,
                                  .parity = UART_PARITY_DISABLE,
                                  .stop_bits = UART_STOP_BITS_1,
                                  .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
                                  .source_clk = UART_SCLK_DEFAULT};
    ESP_ERROR_CHECK(uart_driver_install(UART_NUM_0, (int)WIRE_BUFFER, 0, 0, NULL, 0));
    ESP_ERROR_CHECK(uart_param_config(UART_NUM_0, &config));
    ESP_ERROR_CHECK(uart_set_pin(UART_NUM_0, (int)RC_UART_TX, (int)RC_UART_RX, UART_PIN_NO_CHANGE, UART_PIN_NO_CHANGE));
}

static int wire_read(uint8_t *to, uint32_t n, TickType_t ticks)
{
    size_t waiting = 0;
    /* The driver waits until all that is asked for is there: wait for one byte, then take what came with it. */
    int got = uart_read_bytes(UART_NUM_0, to, 1, ticks);
    if (got <= 0 || uart_get_buffered_data_len(UART_NUM_0, &waiting) != ESP_OK || waiting == 0u || n < 2u) {
        return got;
    }
    int more = uart_read_bytes(UART_NUM_0, to + 1, waiting < n - 1u ? (uint32_t)waiting : n - 1u, 0);
    return more > 0 ? more + 1 : 1;
}

static void wire_write(const uint8_t *data, uint32_t n)
{
    (void)uart_write_bytes(UART_NUM_0, data, n); /* without a buffer of its own it waits for the hardware's */
}

static void wire_flush(void)
{
    (void)uart_wait_tx_done(UART_NUM_0, WRITE_TICKS);
}

#endif

void rc_port_init(void)
{
    static const uint8_t delimiter = 0; /* ends what the ROM and the boot loader may have said */
    wire_init();
    rc_port_write(&delimiter, 1);
}

int32_t rc_port_read(uint8_t *byte, uint32_t timeout_ms)
{
    if (taken == have) {
        TickType_t ticks = timeout_ms == RC_PORT_FOREVER ? portMAX_DELAY : pdMS_TO_TICKS(timeout_ms);
        int got = wire_read(received, READ_AT_ONCE, ticks);
        taken = 0;
        have = got > 0 ? (uint32_t)got : 0u;
        if (have == 0u) {
            return 0;
        }
    }
    *byte = received[taken++];
    return 1;
}

void rc_port_write(const uint8_t *data, uint32_t n)
{
    if (rc_esp_panic_end == NULL) {
        wire_write(data, n);
        return;
    }
    for (uint32_t i = 0; i < n; i++) { /* the ROM's polled output, which needs no driver: its channel is UART0 */
        (void)esp_rom_output_tx_one_char(data[i]);
    }
}

/* --- Time ------------------------------------------------------------------------------------------------------- */

/* The counter of the core that the main task is pinned to. It wraps every 18 s at 240 MHz; whoever computes or waits
 * feeds the watchdog more often than that, and feeding counts the wraps. */
uint64_t rc_port_ticks(void)
{
    uint32_t now = (uint32_t)esp_cpu_get_cycle_count();
    if (now < last_count) {
        wraps++;
    }
    last_count = now;
    return ((uint64_t)wraps << 32) | now;
}

uint32_t rc_port_tick_hz(void)
{
    return RC_TICK_HZ;
}

/* --- Watchdog, start and end ------------------------------------------------------------------------------------ */

void rc_port_watchdog_start(uint32_t timeout_ms)
{
    /* The idle tasks are not watched: while a puzzle is solved, the main task leaves its core no idle time. */
    const esp_task_wdt_config_t config = {.timeout_ms = timeout_ms, .idle_core_mask = 0, .trigger_panic = true};
    ESP_ERROR_CHECK(esp_task_wdt_init(&config));
    ESP_ERROR_CHECK(esp_task_wdt_add(NULL));
    watched = true;
}

void rc_port_watchdog_feed(void)
{
    (void)rc_port_ticks();
    if (watched) {
        (void)esp_task_wdt_reset();
    }
}

uint32_t rc_port_reset_cause(void)
{
    switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
    case ESP_RST_BROWNOUT:
    case ESP_RST_PWR_GLITCH:
        return RC_RESET_POWER;
    case ESP_RST_EXT:
    case ESP_RST_USB:
    case ESP_RST_JTAG:
        return RC_RESET_PIN;
    case ESP_RST_SW:
    case ESP_RST_PANIC:
        return RC_RESET_SOFTWARE;
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
        return RC_RESET_WATCHDOG;
    default:
        return RC_RESET_UNKNOWN;
    }
}

uint32_t rc_port_can_exit(void)
{
    return 0;
}

void rc_port_exit(uint32_t code)
{
    (void)code;
    rc_port_reset();
}

void rc_port_reset(void)
{
    if (rc_esp_panic_end != NULL) {
        rc_esp_panic_end();
    } else {
        wire_flush();
        esp_restart();
    }
    for (;;) {
    }
}

/* --- Stack ------------------------------------------------------------------------------------------------------ */

uint32_t rc_port_stack_size(void)
{
    return CONFIG_ESP_MAIN_TASK_STACK_SIZE;
}

uint32_t rc_port_stack_used(void)
{
    return CONFIG_ESP_MAIN_TASK_STACK_SIZE - (uint32_t)uxTaskGetStackHighWaterMark(NULL); /* ESP-IDF counts bytes */
}
