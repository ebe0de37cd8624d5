/** Passes by own kernels, on CPUs: packed weights, machine code, the Vector API. */
@NullMarked
package org.eellm.decode.engine.cpu;

import org.jspecify.annotations.NullMarked;
