/** Benchmarks of training, decoding, pipelines, servers and the machine. */
@NullMarked
package org.eellm.bench;

import org.jspecify.annotations.NullMarked;
