/** The training step and loop: microbatches, schedule execution, checkpoints, evaluation. */
@NullMarked
package org.eellm.train;

import org.jspecify.annotations.NullMarked;
