! train_arrays.f90 - examples/c/train_arrays.c in Fortran, over a communicator of this program's.
!
!   mpifort $(pkg-config --variable=includedir dldist)/dldist/dldist.f90 train_arrays.f90 $(pkg-config --libs dldist)
!   mpirun -np 2 ./a.out
program train_arrays
  use, intrinsic :: iso_c_binding
  use mpi
  use dldist
  implicit none

  integer, parameter :: grid = 40, samples = grid*grid
  real(c_float), target :: points(2, samples)
  integer(c_int32_t), target :: labels(samples)
  real(c_float) :: places(2, 2), scores(2, 2)
  real(c_double) :: accuracy
  character(kind=c_char) :: sha256(65)
  type(c_ptr) :: context, network
  integer :: error

  call MPI_Init(error)
  call make_points()
  call must(dl_context_open_fortran(MPI_COMM_WORLD, context))
  call must(dl_network_new(context, network))
  call must(dl_network_add(network, dl_text('dense: 32')))
  call must(dl_network_add(network, dl_text('tanh')))
  call must(dl_network_add(network, dl_text('dense: 2')))
  call must(dl_network_set(network, dl_text('optimizer'), dl_text('{name: adam, lr: 0.01}')))
  call must(dl_network_set(network, dl_text('train'), dl_text('{epochs: 30, batch: 50}')))
  call must(dl_network_set(network, dl_text('sync.shards'), dl_text('4')))
  call must(dl_network_set_data(network, DL_TRAIN, int(samples, c_int64_t), 1_c_int, [2_c_int64_t], c_loc(points), &
                                c_loc(labels), 1_c_int64_t, c_null_ptr))
  call must(dl_network_train(network))

  places = reshape([0.0, 0.0, 0.9, -0.9], [2, 2])
  call must(dl_network_metric(network, DL_TRAIN, dl_text('accuracy'), accuracy))
  call must(dl_network_predict(network, 2_c_int64_t, places, scores))
  call must(dl_network_weights_sha256(network, sha256))
  if (dl_context_rank(context) == 0) then
    print '(a, f6.4)', 'accuracy ', accuracy
    print '(a, f5.3, a, f5.3)', 'inside the disk: the middle ', scores(2, 1), ', a corner ', scores(2, 2)
    print '(65a)', 'weights ', sha256(1:64)
  end if
  call dl_network_close(network)
  call dl_context_close(context)
  call MPI_Finalize(error)

contains

  subroutine make_points()
    integer :: i, a, b
    do i = 1, samples
      a = 2*((i - 1)/grid) - (grid - 1)
      b = 2*mod(i - 1, grid) - (grid - 1)
      points(:, i) = [real(a, c_float)/grid, real(b, c_float)/grid]
      labels(i) = merge(1, 0, a*a + b*b < 800)
    end do
  end subroutine

  subroutine must(status)
    integer(c_int), intent(in) :: status
    if (status == DL_OK) return
    print '(2a)', 'train_arrays: ', dl_error_text()
    stop 1
  end subroutine
end program
