#ifndef RECURC_TEST_MODEL_H
#define RECURC_TEST_MODEL_H

#include <stdint.h>

#define CELLS       8u
#define STEPS       5u
#define FORMS       2u
#define RESTARTS    4u /* with noise */
#define ARENA_BYTES 320u
#define SENT_BYTES  8192u

extern const uint8_t test_image[64]; /* holds FORMS other forms of a puzzle */
extern uint8_t sent[SENT_BYTES];     /* what the server has written since sent_bytes was 0 */
extern uint32_t sent_bytes, ended;

#endif
