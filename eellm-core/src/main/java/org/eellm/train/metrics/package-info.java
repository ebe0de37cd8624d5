/** A run's reports: events, JSON lines, TensorBoard files, traces. */
@NullMarked
package org.eellm.train.metrics;

import org.jspecify.annotations.NullMarked;
