/** Evaluation tasks: their YAML files, records, metrics, runs and reports. */
@NullMarked
package org.eellm.eval.task;

import org.jspecify.annotations.NullMarked;
