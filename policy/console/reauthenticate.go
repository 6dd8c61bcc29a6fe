package console

func (s *server) reauthenticationRoutes() {}
