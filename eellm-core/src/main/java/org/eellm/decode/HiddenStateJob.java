package org.eellm.decode;

import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A text whose hidden states after a layer are asked for.
 *
 * @param ids of the text, at least one
 * @param layer from 1
 * @param listener receives the hidden states in order of positions, on the thread that computes
 * @param end completed after the last, with the number of positions; who completes it before
 *     cancels
 */
record HiddenStateJob(
    List<Integer> ids, int layer, HiddenStateListener listener, CompletableFuture<Integer> end) {
  HiddenStateJob {
    ids = List.copyOf(ids);
  }
}
