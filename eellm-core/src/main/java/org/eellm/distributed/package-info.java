/**
 * Many ranks as one program: the mesh they form, how they find each other, what they say to each
 * other, and who is to blame when one of them falls silent.
 *
 * <p>Begin with {@link org.eellm.distributed.World}.
 */
@NullMarked
package org.eellm.distributed;

import org.jspecify.annotations.NullMarked;
