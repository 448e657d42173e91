/* sim: one run is one seed: a server, agents, clients and targets in one world, with faults on and then off, judged by the checker and by the audit. */
#ifndef SIM_H
#define SIM_H
#include "cover.h"

/* Adds to cover; what fails is printed, with the command that shows it again. still: wall clocks stand, where else they jump. What was decided, as a hash:
 * the same for the same seed, whatever the wall clocks do (G8). */
uint64_t sim_run(uint64_t seed, bool verbose, bool still, struct cover *);
#endif
