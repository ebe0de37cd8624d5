/** Passes by own kernels, on CPUs: packed weights, machine code, or Java. */
@NullMarked
package org.eellm.decode.engine.cpu;

import org.jspecify.annotations.NullMarked;
