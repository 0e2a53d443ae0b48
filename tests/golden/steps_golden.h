/* steps_golden.h - made by make_steps.py with numpy in float64; do not edit. */
#ifndef DL_STEPS_GOLDEN_H
#define DL_STEPS_GOLDEN_H

/* clang-format off */

enum { GOLDEN_STEPS = 20, GOLDEN_BATCH = 24 };
/* Mean loss of each step, before its update. */
static const double golden_step_losses[GOLDEN_STEPS] = {
    2.3335210621614966,
    2.3157039594482582,
    2.3145775938937168,
    2.287185004242227,
    2.265638901413045,
    2.2897483981143196,
    2.2668976115078054,
    2.2357745471895063,
    2.2306466827417144,
    2.2174285448910545,
    2.1810665696472893,
    2.1615274060463627,
    2.1309194620899774,
    2.1182811413237235,
    2.072790091352711,
    2.013452211400994,
    1.9982156849565194,
    1.898040468282986,
    1.8770290217044456,
    1.7866390529429073,
};

/* Sum of squares of all weights after the last step. */
static const double golden_final_sumsq = 20.633230575735922;

#endif
