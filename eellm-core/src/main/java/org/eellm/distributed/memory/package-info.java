/** Messages between ranks of one machine, through memory that they share. */
@NullMarked
package org.eellm.distributed.memory;

import org.jspecify.annotations.NullMarked;
