/** Tasks, quality per exit, sweeps over settings, calibrated thresholds, and their reports. */
@NullMarked
package org.eellm.eval;

import org.jspecify.annotations.NullMarked;
