#ifndef COLOSSUS_CNATS_SHIM_H
#define COLOSSUS_CNATS_SHIM_H
#include <nats/nats.h>
#endif
