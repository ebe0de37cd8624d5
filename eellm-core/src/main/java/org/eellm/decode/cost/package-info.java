/** Measured costs of decode steps, and what they predict. */
@NullMarked
package org.eellm.decode.cost;

import org.jspecify.annotations.NullMarked;
