package org.eellm.decode.pipeline;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.model.Head;

/**
 * The part of a model that is on a stage.
 *
 * @param firstBranch the number of trunk branches before those there
 * @param endBranch the number of trunk branches up to the last one there
 * @param heads indices of the heads there, in order of depth
 */
record StagePart(int firstBranch, int endBranch, List<Integer> heads) {
  StagePart {
    heads = List.copyOf(heads);
  }

  static StagePart of(ModelRunner runner) {
    return new StagePart(
        runner.firstBranch(),
        runner.endBranch(),
        runner.heads().stream().map(Head::index).toList());
  }

  byte[] encode() {
    ByteBuffer bytes = ByteBuffer.allocate(Integer.BYTES * (2 + heads.size()));
    bytes.putInt(firstBranch).putInt(endBranch);
    heads.forEach(bytes::putInt);
    return bytes.array();
  }

  static StagePart decode(ByteBuffer bytes) {
    int first = bytes.getInt();
    int end = bytes.getInt();
    List<Integer> heads = new ArrayList<>();
    while (bytes.hasRemaining()) {
      heads.add(bytes.getInt());
    }
    return new StagePart(first, end, heads);
  }
}
