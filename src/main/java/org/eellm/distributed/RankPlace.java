package org.eellm.distributed;

/**
 * Which of how many ranks this process is, and where they meet.
 *
 * @param rank from 0
 * @param size ranks in all
 * @param localRank number among the ranks on this machine, from 0
 * @param localSize ranks on this machine
 * @param host where the board is that the ranks meet at: usually rank 0's machine
 * @param port of the board
 * @param board who holds the board
 */
public record RankPlace(
    int rank, int size, int localRank, int localSize, String host, int port, BoardHost board) {

  /** Who holds the board that the ranks meet at. */
  public enum BoardHost {
    /** The process of rank 0. */
    RANK_ZERO,
    /** What started the ranks: torchrun does. */
    LAUNCHER
  }
}
