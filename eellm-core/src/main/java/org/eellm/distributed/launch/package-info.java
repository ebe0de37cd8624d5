/**
 * How a process learns its rank: from Slurm, Open MPI, Kubernetes or torchrun variables, or because
 * this process started it.
 */
@NullMarked
package org.eellm.distributed.launch;

import org.jspecify.annotations.NullMarked;
