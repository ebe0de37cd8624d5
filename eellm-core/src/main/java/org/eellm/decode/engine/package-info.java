/**
 * Passes of blocks of rows through a model's layers and heads: with own kernels on CPUs, with
 * libtorch elsewhere. Knows rows, pages and logits; no requests, no policies.
 */
@NullMarked
package org.eellm.decode.engine;

import org.jspecify.annotations.NullMarked;
