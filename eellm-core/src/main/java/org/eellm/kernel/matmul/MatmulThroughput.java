package org.eellm.kernel.matmul;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * What a kernel multiplies at best: 64 rows with weights that stay in the nearest caches, on all
 * threads of a team.
 */
public final class MatmulThroughput {
  private static final int ROWS = 64;
  private static final int INPUTS = 512;
  private static final int BLOCKS = 4;
  private static final int OUTPUTS = BLOCKS * PackedMatrix.BLOCK;
  private static final int ITEMS = 8; // of each member in a region
  private static final byte SMALL = 0x3C; // in every byte: 0.0115 in float32 and bfloat16

  private MatmulThroughput() {}

  /**
   * Multiplies again and again.
   *
   * @param seconds how long, at least once
   * @return operations a second: a multiplication and an addition are two
   */
  public static double operationsPerSecond(ThreadTeam team, MatmulKernel kernel, double seconds) {
    List<NativeBuffer> results = new ArrayList<>();
    long rowBytes = 4L * OUTPUTS;
    for (int i = 0; i < team.size(); i++) {
      results.add(NativeBuffer.allocate(rowBytes * ROWS));
    }
    WeightFormat format = kernel.format();
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUTPUTS, INPUTS));
        PackedInput x = kernel.allocate(ROWS, INPUTS)) {
      MemorySegment.ofAddress(memory.address()).reinterpret(memory.bytes()).fill(SMALL);
      PackedMatrix w = new PackedMatrix(format, OUTPUTS, INPUTS, memory.address());
      x.begin(ROWS);
      FloatArray row = FloatArray.allocate(INPUTS);
      Arrays.fill(row.values(), 1);
      for (int i = 0; i < ROWS; i++) {
        x.put(i, 0, row, 0, INPUTS);
      }
      int items = ITEMS * team.size();
      ThreadTeam.Program program =
          member -> {
            long y = results.get(member.index()).address();
            member.begin(items);
            while (member.next() >= 0) {
              for (int first = 0; first < ROWS; first += x.groupRows()) {
                kernel.multiply(w, 0, BLOCKS, x, first, y + first * rowBytes, rowBytes);
              }
            }
            member.end();
          };
      team.run(program); // takes the memory from the system
      return 2.0 * ROWS * INPUTS * OUTPUTS * items * perSecond(team, program, seconds);
    } finally {
      results.forEach(NativeBuffer::close);
    }
  }

  private static double perSecond(ThreadTeam team, ThreadTeam.Program program, double seconds) {
    int count = 0;
    long start = System.nanoTime();
    long now;
    do {
      team.run(program);
      count++;
      now = System.nanoTime();
    } while (now - start < seconds * 1e9);
    return count / ((now - start) / 1e9);
  }
}
