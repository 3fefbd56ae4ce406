/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds the watchdog where long work goes on: after every tile, call and step of a model, after every slice of a hash, and
 * never by an interrupt, so that work that stands still starves it. Nothing where there is no watchdog. */
#ifndef RECURC_ALIVE_H
#define RECURC_ALIVE_H

#ifdef RC_WATCHDOG_MS
#include "recurc/rc_port.h"
#define RC_ALIVE() rc_port_watchdog_feed()
#else
#define RC_ALIVE() ((void)0)
#endif

#endif
