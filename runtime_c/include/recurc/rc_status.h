/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes of every recurc runtime function. One list, so that names and numbers cannot drift apart. */
#ifndef RECURC_STATUS_H
#define RECURC_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define RC_STATUS_LIST(X)                                                                                              \
    X(RC_OK, 0, "ok")                                                                                                  \
    X(RC_ERR_ARGUMENT, 1, "an argument is null or out of range")                                                       \
    X(RC_ERR_IMAGE_MAGIC, 2, "the image does not start with RCM1")                                                     \
    X(RC_ERR_IMAGE_VERSION, 3, "the image has another format version")                                                 \
    X(RC_ERR_IMAGE_FLAGS, 4, "the image uses flags unknown here")                                                      \
    X(RC_ERR_IMAGE_SIZE, 5, "the image is truncated or too long")                                                      \
    X(RC_ERR_IMAGE_CRC, 6, "a checksum of the image is wrong")                                                         \
    X(RC_ERR_IMAGE_SECTION, 7, "a section is missing or mis-sized")                                                    \
    X(RC_ERR_IMAGE_MODEL, 8, "the image is of another model")                                                          \
    X(RC_ERR_ALIGNMENT, 9, "a buffer is not aligned")                                                                  \
    X(RC_ERR_ARENA, 10, "the arena is too small")                                                                      \
    X(RC_ERR_TOKEN, 11, "a token is outside the vocabulary")                                                           \
    X(RC_ERR_PUZZLE, 12, "the puzzle identifier is out of range")                                                      \
    X(RC_ERR_STATE, 13, "called before an earlier step has run")                                                       \
    X(RC_ERR_FRAME, 14, "a frame is malformed")                                                                        \
    X(RC_ERR_COMMAND, 15, "unknown command or flag")                                                                   \
    X(RC_ERR_TABLE, 16, "the puzzle table is missing or not this model's")                                             \
    X(RC_ERR_ROW, 17, "the puzzle's row is missing or corrupt")                                                        \
    X(RC_ERR_IMAGE_HASH, 18, "the sha256 of the image's bytes is another than its header tells")                       \
    X(RC_ERR_STEPS, 19, "all compiled supervision steps have been run")                                                \
    X(RC_ERR_NUMBER, 20, "a value is not a finite number")                                                             \
    X(RC_ERR_CANCELLED, 21, "it was cancelled")                                                                        \
    X(RC_ERR_SELFTEST, 22, "floats are rounded wrong or the known answer was not met: compiler flags, FPU or memory")  \
    X(RC_ERR_IMAGE_ROLLBACK, 23, "the image's counter is below the least")                                             \
    X(RC_ERR_IMAGE_SIGNATURE, 24, "the image is not trusted")

typedef enum {
#define RC_STATUS_ENUM(name, value, text) name = (value),
    RC_STATUS_LIST(RC_STATUS_ENUM)
#undef RC_STATUS_ENUM
} rc_status_t;

/* English text of a status; never null. */
const char *rc_status_text(rc_status_t status);

#ifdef __cplusplus
}
#endif

#endif
