/**
 * The processor itself: its flags and caches, executable memory and machine code, and threads that
 * stay in step.
 */
@NullMarked
package org.eellm.kernel.machine;

import org.jspecify.annotations.NullMarked;
