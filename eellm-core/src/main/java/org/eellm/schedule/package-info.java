/**
 * Pipeline schedules as data: {@link org.eellm.schedule.Schedules} emits one list of {@link
 * org.eellm.schedule.Action}s a stage, {@link org.eellm.schedule.Timeline} simulates it against
 * {@link org.eellm.schedule.Costs}, and the trainer runs it. {@link
 * org.eellm.schedule.ScheduleValidator} checks each. Pure Java, no tensors.
 */
@NullMarked
package org.eellm.schedule;

import org.jspecify.annotations.NullMarked;
