/**
 * AdamW and Muon over sharded parameters, gradient reduction and clipping, schedules of learning
 * rate and batch size.
 */
@NullMarked
package org.eellm.train.optimizer;

import org.jspecify.annotations.NullMarked;
