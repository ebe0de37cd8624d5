/**
 * The weighted sum of all heads' losses, carried forward and backward through one stage's layers.
 */
@NullMarked
package org.eellm.train.objective;

import org.jspecify.annotations.NullMarked;
