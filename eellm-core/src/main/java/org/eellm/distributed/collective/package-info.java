/**
 * Groups of ranks that reduce, gather and send tensors, over memory that they share, Gloo or NCCL.
 */
@NullMarked
package org.eellm.distributed.collective;

import org.jspecify.annotations.NullMarked;
