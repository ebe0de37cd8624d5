/**
 * Loops of our own over tensors' memory, where a chain of libtorch's elementwise operations would
 * pass over the same numbers many times: bfloat16 on the CPU, with the JDK's Vector API, on
 * libtorch's own threads.
 */
@NullMarked
package org.eellm.tensor.kernel;

import org.jspecify.annotations.NullMarked;
