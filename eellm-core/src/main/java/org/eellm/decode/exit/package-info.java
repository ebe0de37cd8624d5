/** Exit policies: when a token leaves at an early exit, and calibrated thresholds. */
@NullMarked
package org.eellm.decode.exit;

import org.jspecify.annotations.NullMarked;
