/* SPDX-License-Identifier: Apache-2.0 */
/* The wire: COBS frames with a CRC, and the server that answers them. runtime_c/SPEC.md, section "Wire", is the full
 * text. */
#ifndef RECURC_WIRE_H
#define RECURC_WIRE_H

#include <stdint.h>

#include "recurc/rc.h"
#include "recurc/rc_status.h"

#define RC_WIRE_VERSION     7u
#define RC_WIRE_MAX_BODY    1024u
#define RC_WIRE_MAX_PAYLOAD (2u + RC_WIRE_MAX_BODY + 4u) /* type, seq, body, crc */
/* With COBS overhead and delimiter. */
#define RC_WIRE_MAX_ENCODED (RC_WIRE_MAX_PAYLOAD + RC_WIRE_MAX_PAYLOAD / 254u + 1u + 1u)

/* Requests; the reply of a request carries its type with bit 7 set. */
enum {
    RC_FRAME_HELLO = 0x01,
    RC_FRAME_LOAD = 0x02,
    RC_FRAME_RUN = 0x03,
    RC_FRAME_READ = 0x04,
    RC_FRAME_SELFTEST = 0x05,
    RC_FRAME_RESET = 0x06,
    RC_FRAME_EXIT = 0x07,
    RC_FRAME_ROW = 0x08,
    RC_FRAME_TRACE = 0x09,
    RC_FRAME_SOLVE = 0x0A,
    RC_FRAME_REPLY = 0x80, /* or-ed to a request's type */
    RC_FRAME_STEP = 0xC3,  /* during RUN and SOLVE, before their reply */
    RC_FRAME_BOOT = 0xFD,  /* seq 0: the firmware has started */
    RC_FRAME_NAK = 0xFE,
    RC_FRAME_FAULT = 0xFF
};

/* RUN flags. */
#define RC_RUN_BEGIN 0x01u /* start from the loaded input; without it: go on from the carry as it is */
#define RC_RUN_HALT  0x02u /* stop when the halting head says so */

/* HELLO capabilities. */
#define RC_HELLO_CAN_EXIT    0x01u
#define RC_HELLO_RESET_SHIFT 4u /* bits 4..6: why the program started, RC_RESET_* of rc_port.h */

/* Where the rows of a streamed puzzle table come from, told in HELLO. */
enum {
    RC_TABLE_NONE = 0,   /* no puzzle table, or it is part of the image */
    RC_TABLE_MAPPED = 1, /* memory-mapped */
    RC_TABLE_WIRE = 2    /* the host sends each puzzle's row: ROW */
};

/* --- COBS ------------------------------------------------------------------------------------------------------- */

/* Encode `n` bytes into `out` (n + n/254 + 1 bytes at most), without the delimiter; returns the encoded length. */
uint32_t rc_cobs_encode(const uint8_t *data, uint32_t n, uint8_t *out);

/* Decode `n` bytes in place (no delimiter among them); returns the decoded length, or 0xFFFFFFFF when malformed. */
uint32_t rc_cobs_decode(uint8_t *data, uint32_t n);

/* --- Frames ----------------------------------------------------------------------------------------------------- */

/* Receiver: collects one encoded frame. Zero-initialise. */
typedef struct {
    uint32_t length;
    uint32_t overflow; /* bytes were dropped: the frame is too long */
    uint8_t bytes[RC_WIRE_MAX_ENCODED];
} rc_frame_rx_t;

/* A received frame; `body` points into the receiver and holds until the next byte is pushed. */
typedef struct {
    uint8_t type, seq;
    uint32_t length;
    const uint8_t *body;
} rc_frame_t;

typedef enum {
    RC_RX_MORE = 0, /* no frame yet */
    RC_RX_FRAME = 1,
    RC_RX_BAD = 2 /* a frame ended here and is malformed: encoding, length or CRC */
} rc_rx_result_t;

/* Take one byte from the wire. */
rc_rx_result_t rc_frame_push(rc_frame_rx_t *rx, uint8_t byte, rc_frame_t *frame);

/* Build a frame with both delimiters' work done: payload, CRC, COBS, trailing zero. `out`: RC_WIRE_MAX_ENCODED bytes.
 * Returns the length; 0 when the body is too long. */
uint32_t rc_frame_build(uint8_t type, uint8_t seq, const uint8_t *body, uint32_t n, uint8_t *out);

/* Little-endian fields, whatever the alignment. */
void rc_put_u16(uint8_t *p, uint32_t v);
void rc_put_u32(uint8_t *p, uint32_t v);
void rc_put_u64(uint8_t *p, uint64_t v);
void rc_put_f32(uint8_t *p, float v);
uint32_t rc_get_u16(const uint8_t *p);
uint32_t rc_get_u32(const uint8_t *p);
float rc_get_f32(const uint8_t *p);

/* --- Server ----------------------------------------------------------------------------------------------------- */

/* Everything the server works on; the caller owns the memory and sets the first block of fields. */
typedef struct {
    const char *board;       /* shown in HELLO */
    const uint8_t *build_id; /* 16 bytes */
    const uint8_t *image;
    uint32_t image_size;
    uint8_t *arena;
    uint32_t arena_size;
    uint8_t *input;       /* rc_info.seq_len bytes */
    const uint8_t *table; /* memory-mapped puzzle table; null: none, a streamed table's rows come over the wire */
    uint32_t table_bytes;

    rc_ctx_t ctx;
    const uint8_t *answer; /* that of the last SOLVE, until the model goes on; null: none */
    rc_status_t image_status;
    rc_status_t table_status; /* of the memory-mapped table */
    rc_frame_rx_t rx;
    uint8_t tx[RC_WIRE_MAX_ENCODED];
    uint8_t body[RC_WIRE_MAX_BODY];
} rc_server_t;

/* Open the model and answer requests until the wire closes. A bad image or table does not stop the server: HELLO tells
 * the status, and everything that needs the model (the table: RUN with begin) is refused with it. */
void rc_server_run(rc_server_t *server);

/* The parts of rc_server_run: open the model and say so (BOOT); take one byte from the wire, and answer the frame that
 * it ends. */
void rc_server_start(rc_server_t *server);
void rc_server_take(rc_server_t *server, uint8_t byte);

/* Answer one frame. */
void rc_server_answer(rc_server_t *server, const rc_frame_t *frame);

/* Carry out a TRACE request on a model that a puzzle was begun on; writes its reply, RC_TRACE_REPLY bytes. */
#define RC_TRACE_REPLY 20u
rc_status_t rc_trace(rc_ctx_t *ctx, const rc_frame_t *frame, uint8_t *reply);

/* The noise that a RUN or a SOLVE asks for: none where its body is no longer than RC_WIRE_PLAIN bytes. */
#define RC_WIRE_PLAIN 20u
#define RC_WIRE_NOISY 32u
typedef struct {
    float sigma;
    uint32_t at, run, seed;
} rc_wire_noise_t;

/* RC_ERR_ARGUMENT: the body has another length, there is no such noise, or the model was built without. */
rc_status_t rc_wire_noise(const rc_frame_t *frame, rc_wire_noise_t *noise);

/* Where the rows of the puzzle table come from: RC_TABLE_... */
uint32_t rc_table_mode(const rc_server_t *server);

/* Write the reply to HELLO, at most RC_WIRE_MAX_BODY bytes; returns how many. */
uint32_t rc_hello(const rc_server_t *server, uint8_t *reply);

/* Send the STEP of a step that has been run: its number, and the run of SOLVE that it is of. */
void rc_send_step(rc_server_t *server, uint8_t seq, uint32_t step, uint32_t run, uint64_t ticks);

/* Carry out a SOLVE request on the loaded input row; sends its STEPs and writes its reply, RC_SOLVE_REPLY bytes. */
#define RC_SOLVE_REPLY 30u
rc_status_t rc_solving(rc_server_t *server, const rc_frame_t *frame, uint8_t *reply);

/* Carry out a SELFTEST request, whose body is RC_SELFTEST_NONCE bytes of the host's choice; writes its reply,
 * RC_SELFTEST_REPLY bytes. About 42 instructions a byte of image and mapped table; the watchdog is fed meanwhile. */
#define RC_SELFTEST_NONCE 16u
#define RC_SELFTEST_REPLY 84u
rc_status_t rc_server_selftest(rc_server_t *server, const rc_frame_t *frame, uint8_t *reply);

/* Open (or re-open) the model and its memory-mapped table; sets image_status and table_status. */
void rc_server_open(rc_server_t *server);

#endif
