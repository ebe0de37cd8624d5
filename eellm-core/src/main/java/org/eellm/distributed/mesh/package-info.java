/** The ranks of a run in four dimensions, and the groups that they form. */
@NullMarked
package org.eellm.distributed.mesh;

import org.jspecify.annotations.NullMarked;
