/** The calibrate, eval, suitability and sweep commands. */
@NullMarked
package org.eellm.cli.eval;

import org.jspecify.annotations.NullMarked;
