/** The training step, losses, optimizer, schedules, guards, metrics and the trainer. */
@NullMarked
package org.eellm.train;

import org.jspecify.annotations.NullMarked;
