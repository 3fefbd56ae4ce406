/* SPDX-License-Identifier: Apache-2.0 */
#include "recurc/rc_status.h"

const char *rc_status_text(rc_status_t status)
{
    switch (status) {
#define RC_STATUS_TEXT(name, value, text)                                                                              \
    case name:                                                                                                         \
        return text;
        RC_STATUS_LIST(RC_STATUS_TEXT)
#undef RC_STATUS_TEXT
    default:
        return "unknown status";
    }
}
