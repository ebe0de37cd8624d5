/** How ranks find each other, and who is to blame when one of them falls silent. */
@NullMarked
package org.eellm.distributed.rendezvous;

import org.jspecify.annotations.NullMarked;
