/** Messages between ranks outside of collectives: bytes of any length, and tensors by stage. */
@NullMarked
package org.eellm.distributed.message;

import org.jspecify.annotations.NullMarked;
