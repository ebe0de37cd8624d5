/** The plan and schedule commands, with their tables and timelines. */
@NullMarked
package org.eellm.cli.plan;

import org.jspecify.annotations.NullMarked;
