/**
 * Predictions for a run before it is started: {@link org.eellm.cost.plan.Planner} puts time, memory
 * and money of a step together; {@link org.eellm.cost.plan.MeshSearch} looks for the quickest mesh.
 * Pure Java, no tensors.
 */
@NullMarked
package org.eellm.cost.plan;

import org.jspecify.annotations.NullMarked;
