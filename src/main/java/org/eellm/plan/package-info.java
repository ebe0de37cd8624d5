/**
 * What a run will take before it is started: {@link org.eellm.plan.Planner} puts time, memory and
 * cost of a step together from a configuration and the rates of a {@link org.eellm.plan.Hardware};
 * {@link org.eellm.plan.MeshSearch} looks for the quickest mesh. Pure Java, no tensors.
 */
@NullMarked
package org.eellm.plan;

import org.jspecify.annotations.NullMarked;
